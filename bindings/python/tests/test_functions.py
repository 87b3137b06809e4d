"""The functions of the package, and what the package consists of."""

import importlib.resources
import inspect
import json
import re

import pytest
from devices import BOB, ROOT

import matrixe2ee
from matrixe2ee import (
    E2eeError,
    OlmChannel,
    canonical_json,
    keys_claim_request,
    read_keys_claim_response,
    verify_signed_json,
    version,
)

HANDLES = ["Store", "Account", "OlmChannel", "OutboundMegolmSession", "InboundMegolmSession"]


def snake_case(name):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def public(thing):
    """The names of a class or module that are for its users."""
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_version_is_the_one_of_the_sources():
    sources = (ROOT / "Cargo.toml").read_text()
    [expected] = re.findall(r'^version = "(.*)"', sources, re.MULTILINE)
    assert version() == matrixe2ee.__version__ == expected


def test_the_canonical_form_has_its_keys_in_order_and_no_spaces():
    assert canonical_json('{"b": "\\u00e4", "a": [1, null, true]}') == '{"a":[1,null,true],"b":"ä"}'
    assert canonical_json({"b": "ä", "a": [1, None, True]}) == '{"a":[1,null,true],"b":"ä"}'
    assert canonical_json([2, 1]) == "[2,1]"
    assert canonical_json(None) == "null"


@pytest.mark.parametrize("value", [1.5, {"a": 1e300}, 2**53, {"a": -(2**53)}])
def test_numbers_that_matrix_does_not_sign_are_refused(value):
    with pytest.raises(E2eeError.InvalidJson):
        canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}])
def test_numbers_that_json_does_not_have_but_json_loads_reads_are_refused(value):
    with pytest.raises(E2eeError.InvalidJson):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1, 2}, b"{}", object(), {"a": b""}])
def test_what_json_does_not_have_is_a_type_error(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_an_object_that_holds_itself_is_a_value_error():
    endless = {}
    endless["self"] = endless
    with pytest.raises(ValueError):
        canonical_json(endless)


@pytest.mark.parametrize(
    "call",
    [
        lambda half: canonical_json(f'"{half}"'),
        lambda half: canonical_json({"a": half}),
        lambda half: canonical_json({half: 1}),
        lambda half: keys_claim_request({BOB: [half]}),
        lambda half: verify_signed_json({}, half, "ed25519:A", "AAAA"),
    ],
)
def test_a_text_that_is_half_a_character_is_refused_by_the_library(call):
    with pytest.raises(E2eeError):
        call("\ud83d")


def test_two_halves_that_json_writes_apart_are_one_character():
    assert canonical_json('"\\ud83d\\ude00"') == '"😀"'
    assert canonical_json("\"\U0001f600\"") == '"😀"'


def test_a_claim_names_the_algorithm_for_each_device_and_a_timeout_if_it_is_given():
    body = {"one_time_keys": {BOB: {"BOB": "signed_curve25519"}}}
    assert keys_claim_request({BOB: ["BOB"]}) == body
    assert keys_claim_request(json.dumps({BOB: ["BOB"]})) == body
    assert keys_claim_request({BOB: ["BOB"]}, 10_000) == {**body, "timeout": 10_000}
    assert keys_claim_request({BOB: ["BOB"]}, timeout_ms=0) == {**body, "timeout": 0}


@pytest.mark.parametrize("timeout", [-1, 2**64])
def test_a_timeout_that_cannot_be_is_a_value_error(timeout):
    with pytest.raises(ValueError):
        keys_claim_request({BOB: ["BOB"]}, timeout)


@pytest.mark.parametrize("form", [lambda value: value, json.dumps])
def test_what_a_claim_brought_leads_to_a_channel(alice, bob, form):
    request = keys_claim_request({BOB: ["BOB", "GONE"]})
    response = {
        "one_time_keys": {BOB: {"BOB": bob.one_time_key()}},
        "failures": {"example.net": {}},
    }
    claimed = read_keys_claim_response(form(request), form(response))
    assert claimed["failures"] == ["example.net"]
    assert list(claimed["one_time_keys"][BOB]) == ["BOB"]
    key = claimed["one_time_keys"][BOB]["BOB"]
    channel = OlmChannel.create_outbound_channel(alice.account, bob.keys, form(key))
    assert channel.session_count() == 1


# What C has and Python has in another form.
ONLY_IN_C = {"abi_version", "error_code", "error_free", "error_json", "error_message",
             "status_name", "string_free", "wipe", *(f"{snake_case(name)}_free" for name in HANDLES)}
ONLY_IN_PYTHON = {"broken_store_rules", *(f"{snake_case(name)}_release" for name in HANDLES)}


def test_the_package_has_every_function_of_the_library_and_no_others():
    symbols = (ROOT / "tests/symbols.txt").read_text().split()
    library = {symbol.removeprefix("matrixe2ee_") for symbol in symbols}
    package = {
        f"{snake_case(name)}_{method}"
        for name in HANDLES
        for method in public(getattr(matrixe2ee, name))
    } | {name for name in matrixe2ee.__all__ if inspect.isfunction(getattr(matrixe2ee, name))}
    assert library - ONLY_IN_C == package - ONLY_IN_PYTHON
    assert ONLY_IN_C <= library
    assert ONLY_IN_PYTHON <= package


def test_all_names_everything_that_is_public_once_and_in_order():
    named = [name for name in vars(matrixe2ee) if not name.startswith("_")]
    assert sorted(named) == sorted(matrixe2ee.__all__)
    assert matrixe2ee.__all__ == sorted(set(matrixe2ee.__all__))
    star = {}
    exec("from matrixe2ee import *", star)
    assert set(matrixe2ee.__all__) <= set(star)


def test_everything_public_says_what_it_is_for():
    for name in set(matrixe2ee.__all__) - {"raw"}:  # the package says what raw is
        assert (getattr(matrixe2ee, name).__doc__ or "").strip(), name
    for name in [*HANDLES, "Clock", "StoreBackend", "StoreOpener"]:
        kind = getattr(matrixe2ee, name)
        for method in public(kind):
            assert (getattr(kind, method).__doc__ or "").strip(), f"{name}.{method}"
    assert "matrixe2ee.raw" in matrixe2ee.__doc__


def test_every_argument_and_result_has_its_type():
    for name in HANDLES:
        kind = getattr(matrixe2ee, name)
        for method in public(kind):
            signature = inspect.signature(getattr(kind, method))
            assert signature.return_annotation is not inspect.Signature.empty, f"{name}.{method}"
            for argument in signature.parameters.values():
                said = argument.name == "self" or argument.annotation is not argument.empty
                assert said, f"{name}.{method}: {argument.name}"


def test_the_package_says_that_it_is_typed():
    assert importlib.resources.files(matrixe2ee).joinpath("py.typed").is_file()
