"""What a server sends back is read with suspicion, whatever it is."""

import json
from typing import Any

import pytest
from chat_server import answer

from ocrd.engines.openai import answers
from ocrd.engines.openai.faults import ServerFault


@pytest.mark.parametrize("counted", [-1, 10**40, 2**31 + 1, True, 3.5, "3", None])
def test_a_number_of_tokens_that_can_not_be_is_not_counted(counted: object) -> None:
    said = answers.answer(json.dumps(answer("words") | {"usage": {"completion_tokens": counted}}).encode())
    assert said.tokens == len("words")


def test_a_number_of_tokens_that_can_be_is_counted() -> None:
    for counted in (0, 3, 2**31):
        said = answers.answer(json.dumps(answer("words") | {"usage": {"completion_tokens": counted}}).encode())
        assert said.tokens == counted


@pytest.mark.parametrize("reason", [None, [], {}, ["stop"], 5, "abort"])
def test_an_end_for_no_known_reason_is_the_servers_fault(reason: Any) -> None:
    with pytest.raises(ServerFault, match="it gave the page up"):
        answers.answer(json.dumps(answer(reason=reason)).encode())


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "\ud800", 5, None])
def test_a_model_whose_name_would_disturb_a_terminal_is_none(name: object) -> None:
    with pytest.raises(ValueError, match="data"):
        answers.models(json.dumps({"data": [{"id": name}]}).encode())


@pytest.mark.parametrize("longest", [-1, 0, 10**40, "8192"])
def test_a_length_that_no_model_has_is_not_known(longest: object) -> None:
    [model] = answers.models(json.dumps({"data": [{"id": "a", "max_model_len": longest}]}).encode())
    assert model.longest is None


@pytest.mark.parametrize("body", [{"error": {"message": "no\x1b[2J\nmore"}}, {"error": "no\x1b[2J more"}])
def test_a_complaint_is_one_line_that_disturbs_no_terminal(body: object) -> None:
    assert answers.complaint(json.dumps(body).encode()) == r"no\x1b[2J more"
