"""What a run does with a study, by what the ledger knows of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.batch.submissions import Submission, Wanted, decide

if TYPE_CHECKING:
    from milvue_async.batch.submissions import Action

WANTED = Wanted(commands=("smarturgences",))
DONE = WANTED.collected({"smarturgences": "done"})


def known(**fields: Any) -> Submission:
    base = Submission(
        number=1,
        content="a",
        parameters="{}",
        state="ended",
        begun=True,
        accepted=True,
        outcome="done",
        is_final=True,
        collected=DONE,
        entry=None,
        stamps=frozenset(),
    )
    return dataclasses.replace(base, **fields)


FAILED = known(outcome="error", collected="")


@pytest.mark.parametrize(
    ("submissions", "changes", "action"),
    [
        pytest.param([], {}, "send", id="new"),
        pytest.param([known()], {}, "keep", id="done"),
        pytest.param([known(outcome="forbidden")], {"retry_failed": True}, "collect", id="licence"),
        pytest.param([known()], {"commands": ("smartxpert",)}, "collect", id="other command"),
        pytest.param([known()], {"retrieve": {"language": "fr"}}, "collect", id="other language"),
        pytest.param([known()], {"parameters": '{"site_id": "b"}'}, "changed", id="other site"),
        pytest.param(
            [known(state="submitting", accepted=False, outcome=None)], {}, "ask", id="in doubt"
        ),
        pytest.param([known(state="submitted", outcome=None)], {}, "wait", id="sent"),
        pytest.param([known(state="predicted", outcome=None)], {}, "collect", id="predicted"),
        pytest.param([FAILED], {}, "keep", id="failed for good"),
        pytest.param([FAILED], {"retry_failed": True}, "ask", id="failed, to be tried again"),
        pytest.param(
            [known(outcome="timed_out", is_final=False, collected="")], {}, "ask", id="timed out"
        ),
        pytest.param(
            [known(outcome="error", is_final=False, begun=False, accepted=False, collected="")],
            {},
            "send",
            id="never arrived",
        ),
        pytest.param(
            [known(outcome="rejected", begun=False, accepted=False, collected="")],
            {},
            "keep",
            id="rejected by the API",
        ),
        pytest.param([known(content="b")], {}, "changed", id="other content"),
        pytest.param([known(content="b")], {"send_changed": True}, "send", id="to be sent"),
        pytest.param(
            [known(content="b", state="submitting", accepted=False, outcome=None)],
            {},
            "ask",
            id="other content in doubt",
        ),
        pytest.param([known(content="", begun=False)], {}, "send", id="never came to be sent"),
    ],
)
def test_it_is_known_what_to_do(
    submissions: list[Submission], changes: dict[str, Any], action: Action
) -> None:
    wanted = dataclasses.replace(WANTED, **changes)
    assert decide(submissions, "a", wanted).action == action


def test_where_the_uid_is_known_from_another_content_asking_does_not_tell() -> None:
    doubtful = known(number=2, state="submitting", accepted=False, outcome=None)
    decision = decide([known(content="b"), doubtful], "a", WANTED)
    assert (decision.action, decision.known, decision.is_ambiguous) == ("ask", doubtful, True)


SUBMISSIONS = st.builds(
    known,
    content=st.sampled_from(["", "a", "b"]),
    parameters=st.sampled_from(["{}", '{"site_id": "b"}']),
    state=st.sampled_from(["submitting", "submitted", "predicted", "ended"]),
    begun=st.booleans(),
    accepted=st.booleans(),
    outcome=st.sampled_from([None, "done", "empty", "forbidden", "error", "skipped", "timed_out"]),
    is_final=st.booleans(),
    collected=st.sampled_from(["", DONE]),
)


@given(st.lists(SUBMISSIONS, max_size=4))
def test_what_may_have_arrived_is_never_simply_sent_unless_asked_for(
    submissions: list[Submission],
) -> None:
    decision = decide(submissions, "a", WANTED)
    if decision.action == "send":
        assert not any(each.begun and each.content for each in submissions)
