"""Billing is answered first."""

from __future__ import annotations

import threading

from orchestrator.engine.precedence import Precedence


def test_a_job_stands_aside_until_the_last_answer_is_given() -> None:
    precedence = Precedence()
    passed = threading.Event()

    def job() -> None:
        while not precedence.stand_aside():
            pass
        passed.set()

    with precedence.answering():
        with precedence.answering():
            thread = threading.Thread(target=job)
            thread.start()
        assert not passed.wait(0.2)
    assert passed.wait(10)
    thread.join(10)


def test_where_billing_never_pauses_a_job_goes_on_after_its_moment() -> None:
    precedence = Precedence()
    with precedence.answering():
        assert precedence.stand_aside(0.01) is False
    assert precedence.stand_aside(0.01) is True


def test_an_answer_that_fails_keeps_nobody_waiting() -> None:
    precedence = Precedence()
    try:
        with precedence.answering():
            raise ValueError
    except ValueError:
        pass
    assert precedence.stand_aside(0.0) is True
