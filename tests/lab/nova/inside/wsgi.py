"""Serves an API of Nova's environment: `.venv-nova/bin/python wsgi.py MODULE ADDRESS`.

MODULE has the WSGI `application`; where its settings are the environment says. Run by .venv-nova's
Python.
"""

from __future__ import annotations

import importlib
import sys

import waitress

module, address = sys.argv[1:]
sys.argv[1:] = []  # the application would read them
waitress.serve(importlib.import_module(module).application, listen=address, threads=8)
