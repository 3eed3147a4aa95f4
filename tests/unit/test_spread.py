"""Several processes share the tests so that what they have in common is made once."""

from __future__ import annotations

from tests.spread import SERVERS, scope


def test_files_that_share_servers_are_run_by_one_process_and_any_other_by_itself() -> None:
    together = [
        "tests/integration/test_hosting_node.py::test_nginx_serves_at_both_addresses",
        "tests/integration/test_hosting_accounts.py::test_x[a::b]",
        "tests/integration/test_hosting_enrolment.py::test_y",
        "tests/contract/test_hosting_node.py::TestRealHostingNode::test_z",
    ]
    assert {scope(each) for each in together} == {SERVERS}
    assert scope("tests/integration/test_hosting.py::test_x") == "tests/integration/test_hosting.py"
    assert scope("tests/unit/test_spread.py::test_x[a::b]") == "tests/unit/test_spread.py"
