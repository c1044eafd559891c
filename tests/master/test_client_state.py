"""The states of a client's session, and what moves between them: a table, and nothing beside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octapi.master.gateway.client_state import ClientEvent, ClientState, moved

E, S = ClientEvent, ClientState


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([E.BREAK], S.ABSENT),
        ([E.BREAK, E.BACK], S.CONNECTED),
        ([E.BACK], S.CONNECTED),
        ([E.BYE, E.BREAK], S.ENDED),
        ([E.BYE, E.BACK, E.BREAK], S.ENDED),
        ([E.BREAK, E.DETACH], S.DETACHED),
        ([E.DETACH], S.CONNECTED),
        ([E.BREAK, E.BYE, E.DETACH], S.DETACHED),
        ([E.BREAK, E.DETACH, E.BACK], S.DETACHED),
        ([E.BREAK, E.DETACH, E.END], S.ENDED),
    ],
)
def test_a_session_moves_as_its_table_says(events: list[ClientEvent], state: ClientState) -> None:
    """What cannot happen in a state leaves it as it is: nobody acts for a script that is connected."""
    found = S.CONNECTED
    for event in events:
        found = moved(found, event)
    assert found is state


@given(st.sampled_from(ClientState), st.lists(st.sampled_from(ClientEvent), max_size=8))
def test_an_end_is_for_good(state: ClientState, events: list[ClientEvent]) -> None:
    """Whatever happens to a session that is forgotten."""
    found = moved(state, E.END)
    for event in events:
        found = moved(found, event)
    assert found is S.ENDED
