"""What every test has: tinyconv's own pytest plugin, Hypothesis without deadlines, warnings of our own making."""

import signal

import hypothesis

# By its module name, which is also the entry point's: where tinyconv is installed pytest has loaded it already.
pytest_plugins = ["tinyconv.pytest_plugin", "pytester"]

# A first call may compile a kernel, which takes seconds.
hypothesis.settings.register_profile("tinyconv", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tinyconv")

# A shell that starts pytest in the background has it ignore Ctrl-C, and so would every program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
