"""Every public function, with the same numbers in other forms, with what are no numbers, and amid torch's switches.

What it gives is right (as of plain float32 arrays), or it costs one clear sentence. Nothing is made up in silence.
"""

import math
import random
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from bad_numbers import (
    AROUND,
    BOOLEAN,
    DENSE,
    NONSENSE,
    NOT_FINITE,
    SPARSE,
    UNSIGNED,
    WHOLE,
    assert_same,
    leaves,
    refused,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from public_calls import (
    CALLS,
    IN_ITS_ROW,
    LEFT_OUT,
    PASSED_ON,
    POSITIVE,
    REFUSED,
    SPARSE_TOO,
    SQUARE,
    STATES,
    VALUES,
    drawn,
)

WHAT = "bad numbers and shapes"
FORMS = {
    **{form: ("eighths", make) for form, make in (DENSE | SPARSE).items()},
    **{form: ("whole", make) for form, make in WHOLE.items()},
    **{form: ("counts", make) for form, make in UNSIGNED.items()},
    **{form: ("truths", make) for form, make in BOOLEAN.items()},
}


def takes(kind: str, form: str) -> bool:
    if kind == STATES:  # tensors, and given back in their own type
        return form in DENSE and "tensor" in form and "float16" not in form
    return kind in SPARSE_TOO or (form not in SPARSE and "csr" not in form)


TO_TRY = [(name, form) for name, call in CALLS.items() for form in FORMS
          if any(takes(kind, form) for kind in call.slots.values())]  # fmt: skip


def now_and_then(pairs, number):
    """A few that take no time, for every `make test`; `make test-faults` tries all."""
    quick = [pair for pair in pairs if not CALLS[pair[0]].dear]
    return random.Random(0).sample(quick, number)


def few(number, call):
    return settings(max_examples=max(1, number // (6 if call.dear else 1)), derandomize=True, deadline=None,
                    database=None, suppress_health_check=list(HealthCheck))  # fmt: skip


def outcome(call, arguments):
    """("right", result) or ("refused", sentence)."""
    found = []
    said = refused(lambda: found.append(call.function(**arguments)))
    return ("right", found[0]) if said is None else ("refused", said)


def hold_form(name, form, tried, number):
    call, (elements, make) = CALLS[name], FORMS[form]

    @few(number, call)
    @given(drawn(call, elements))
    def hold(arguments):
        kind, expected = outcome(call, arguments)
        for slot in (slot for slot, its in call.slots.items() if takes(its, form)):
            value = make(np.asarray(arguments[slot]))
            before = value.copy() if isinstance(value, np.ndarray) else None
            found_kind, found = outcome(call, {**arguments, slot: value})
            assert kind == found_kind, (slot, expected, found)
            if kind == "right":
                assert_same(found, expected, call.rtol, 1e-5)
            if before is not None:
                np.testing.assert_array_equal(before, value, err_msg=f"it wrote into its {slot}")
            tried(WHAT)

    hold()


@pytest.mark.parametrize(("name", "form"), now_and_then(TO_TRY, 100))
def test_another_form_of_the_same_numbers_gives_the_same_now_and_then(name, form, tried):
    hold_form(name, form, tried, number=2)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "form"), TO_TRY)
def test_another_form_of_the_same_numbers_gives_the_same(name, form, tried):
    hold_form(name, form, tried, number=4)


def may_be(call, kind, nonsense) -> bool:
    """Of a list of values, one number or a list with gaps may be right."""
    one = kind in (VALUES, POSITIVE) and nonsense in ("one number", "one axis more")
    return one or (call.nan == LEFT_OUT and nonsense == "objects")


def hold_refused(name, nonsense, tried):
    call = CALLS[name]

    @few(1, call)
    @given(drawn(call))
    def hold(arguments):
        for slot in (slot for slot, kind in call.slots.items() if not may_be(call, kind, nonsense)):
            wrong = {**arguments, slot: NONSENSE[nonsense](np.asarray(arguments[slot]))}
            assert refused(partial(call.function, **wrong)), f"{slot} as {nonsense} passed"
            tried(WHAT)

    hold()


WRONG = list(product(CALLS, NONSENSE))


@pytest.mark.parametrize(("name", "nonsense"), now_and_then(WRONG, 60))
def test_what_are_no_numbers_costs_one_sentence_now_and_then(name, nonsense, tried):
    hold_refused(name, nonsense, tried)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "nonsense"), WRONG)
def test_what_are_no_numbers_costs_one_sentence(name, nonsense, tried):
    hold_refused(name, nonsense, tried)


def spoilt(call, arguments, slot, place, value):
    """With one value that is not finite; the diagonal of a square does not count."""
    x = np.asarray(arguments[slot]).copy()
    x.ravel()[1 if call.slots[slot] == SQUARE else place % x.size] = value
    return {**arguments, slot: torch.from_numpy(x) if call.slots[slot] == STATES else x}


def hold_not_finite(call, arguments, slot, value, place):
    wrong = spoilt(call, arguments, slot, place, value)
    if call.nan == REFUSED:
        assert refused(lambda: call.function(**wrong)), f"{slot} with {value} passed"
    elif call.nan == LEFT_OUT:
        if np.isnan(value):
            at = place % len(arguments[slot])
            without = {n: np.delete(x, at) if call.together or n == slot else x for n, x in arguments.items()}
            assert_same(call.function(**wrong), call.function(**without))
    elif call.nan == IN_ITS_ROW:
        right, found = (np.asarray(call.function(**given)) for given in (arguments, wrong))
        row = place % math.prod(wrong[slot].shape) // wrong[slot].shape[1]
        np.testing.assert_allclose(np.delete(found, row, axis=0), np.delete(right, row, axis=0), 1e-5, 1e-6)
        assert not np.isfinite(found[row]).all()
    else:
        assert call.nan == PASSED_ON
        assert not all(np.isfinite(leaf).all() for _, leaf in leaves(call.function(**wrong)))


def hold_all_not_finite(name, value, tried, number):
    call = CALLS[name]

    @few(number, call)
    @given(drawn(call), st.integers(0, 100))
    def hold(arguments, place):
        for slot in call.slots:
            hold_not_finite(call, arguments, slot, value, place)
            tried(WHAT)

    hold()


SPOILT = list(product(CALLS, NOT_FINITE))


@pytest.mark.parametrize(("name", "value"), now_and_then(SPOILT, 60))
def test_what_is_not_finite_is_never_taken_for_a_number_now_and_then(name, value, tried):
    hold_all_not_finite(name, value, tried, 2)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "value"), SPOILT)
def test_what_is_not_finite_is_never_taken_for_a_number(name, value, tried):
    hold_all_not_finite(name, value, tried, 3)


def hold_around(name, around, tried, number, as_tensors=False):
    call = CALLS[name]

    @few(number, call)
    @given(drawn(call))
    def hold(arguments):
        if as_tensors:
            arguments = {slot: torch.as_tensor(x) for slot, x in arguments.items()}
        kind, expected = outcome(call, arguments)
        with AROUND[around]():
            found_kind, found = outcome(call, arguments)
        assert kind == found_kind, found
        if kind == "right":
            assert_same(found, expected, call.rtol, 1e-5)
        tried(WHAT)

    hold()


SWITCHED = list(product(CALLS, AROUND))


@pytest.mark.parametrize(("name", "around"), now_and_then(SWITCHED, 60))
def test_what_is_switched_around_a_call_changes_nothing_now_and_then(name, around, tried):
    hold_around(name, around, tried, 1)


@pytest.mark.faults
@pytest.mark.parametrize("as_tensors", [False, True], ids=["arrays", "tensors"])
@pytest.mark.parametrize(("name", "around"), SWITCHED)
def test_what_is_switched_around_a_call_changes_nothing(name, around, as_tensors, tried):
    hold_around(name, around, tried, 2, as_tensors)
