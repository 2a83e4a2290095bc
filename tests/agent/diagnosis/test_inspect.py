"""What is said of a host as it is, beyond our own things."""

import pytest

from lessor.agent.diagnosis.inspect import too_old


@pytest.mark.parametrize("release", ["5.17.0", "4.19.0-27-amd64", "5.4.0-200-generic"])
def test_a_kernel_that_forgets_our_mark_is_named(release: str) -> None:
    (sentence,) = too_old(release)
    assert release in sentence
    assert "5.18" in sentence


@pytest.mark.parametrize("release", ["5.18.0", "6.1.0-28-amd64", "10.0", "unheard-of"])
def test_of_another_kernel_nothing_is_said(release: str) -> None:
    assert list(too_old(release)) == []
