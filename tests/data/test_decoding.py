"""While decoding processes are started, nothing that ends the command may come between."""

from __future__ import annotations

import signal
import threading

import pytest

from sarjepa.data.decoding import _interrupts_held


def _received_elsewhere(number: signal.Signals) -> None:
    """Receive a signal as a thread of some library would; Python runs its handler in the main thread all the same."""

    def receive() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_kill(threading.get_ident(), number)

    thread = threading.Thread(target=receive)
    thread.start()
    thread.join()


def test_ctrl_c_is_raised_at_the_end_whichever_thread_receives_it() -> None:
    steps = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), _interrupts_held():
            _received_elsewhere(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # blocked here: both are one
            steps.append("all processes started")
        assert steps and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_of_the_command_is_called_at_the_end_and_stays() -> None:
    calls: list[int] = []

    def handler(number: int, _: object) -> None:
        calls.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with _interrupts_held():
            signal.raise_signal(signal.SIGTERM)
            assert not calls
        assert calls == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_is_ignored_does_not_hide_the_next() -> None:
    before = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    try:
        with pytest.raises(KeyboardInterrupt), _interrupts_held():
            signal.raise_signal(signal.SIGHUP)
            _received_elsewhere(signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_thread_may_decode_too() -> None:
    done = []

    def hold() -> None:
        with _interrupts_held():
            done.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert done
