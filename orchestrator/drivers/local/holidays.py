"""Public holidays of a country, from the library ``holidays``: the only place that imports it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import holidays

from orchestrator.domain.errors import ConfigError


def public_holidays(country: str, years: Iterable[int], extra: Iterable[date] = ()) -> frozenset[date]:
    """The public holidays of these years, and the ``extra`` ones (config.holidays), whatever their year.

    ``country`` is a code of ISO 3166-1, such as 'ID'; dates are those of the country. Joint leave and the like are not public
    holidays: they come as ``extra``. Dates that follow the moon are estimates in years that nobody has decreed yet (see
    docs/decisions/0006). Raises ConfigError for a country or a year of which the library knows nothing.
    """
    if country not in holidays.list_supported_countries(include_aliases=False):
        raise ConfigError(
            f"the public holidays of '{country[:60]}' are not known", hint="write the country's two capital letters, such as 'ID'"
        )
    wanted = sorted(set(years))
    found = holidays.country_holidays(country, years=wanted, categories=(holidays.PUBLIC,))
    unknown = [year for year in wanted if not found.start_year <= year <= found.end_year]
    if unknown:
        raise ConfigError(
            f"the public holidays of {country} in {unknown[0]} are not known",
            hint=f"years from {found.start_year} to {found.end_year} are",
        )
    return frozenset(found) | frozenset(extra)
