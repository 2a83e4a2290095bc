import pytest

from lessor.signal import Signal


def test_all_subscribers_are_told_in_order() -> None:
    asked: Signal[[str, int]] = Signal()
    told: list[tuple[str, str, int]] = []
    asked.subscribe(lambda name, number: told.append(("first", name, number)))
    asked.subscribe(lambda name, number: told.append(("second", name, number)))
    asked.emit("tour", 7)
    assert told == [("first", "tour", 7), ("second", "tour", 7)]


def test_a_signal_that_nobody_subscribed_to_is_emitted_all_the_same() -> None:
    sent: Signal[[]] = Signal()
    sent.emit()


def test_an_error_of_a_subscriber_reaches_the_emitter() -> None:
    sent: Signal[[]] = Signal()
    sent.subscribe(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        sent.emit()
