"""The OpenAPI document against the running application: schemathesis calls every operation with what fits and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import positive_data_acceptance
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from tests.served import Served

# What does not fit may be refused for its size, too, before anybody reads it.
REFUSED = {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}}
CALLS = settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def operations(served: Served) -> Iterator[APIOperation[Any, Any, Any, Any]]:
    """The document's operations as the server gives it."""
    schema = schemathesis.openapi.from_dict(
        served.http.get("/v1/openapi.json").json(), config=SchemathesisConfig.from_dict(REFUSED)
    )
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_answers_as_the_document_says(served: Served, mode: GenerationMode) -> None:
    """With what fits the document, and with what does not."""
    token = served.run("token", "create", f"{mode.value}-mode", "--role", "admin").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    called = []
    for operation in operations(served):
        if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
            continue  # it takes nothing, so nothing can be wrong with it

        @CALLS
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Case[Any]) -> None:
            # That suspend and terminate need a reason and start does not is beyond what a schema can say.
            case.call_and_validate(base_url=served.url, headers=headers, excluded_checks=[positive_data_acceptance])

        call()
        called.append(operation.label)
    assert len(called) > 25


def test_every_route_is_described_and_every_refusal_is_a_problem(served: Served) -> None:
    document = served.http.get("/v1/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) > 30
    for operation in operations:
        assert operation["summary"]
        assert "422" not in operation["responses"]
        assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]
    assert {"EventBody", "EventData", "Problem"} <= set(document["components"]["schemas"])
