"""Files that each rank of a distributed job writes: told by the rank in their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

_RANK = re.compile(
    r"(?P<before>(?:^|[^0-9A-Za-z])(?:rng_state_|random_states_|(?:[a-z]*_)?rank[_=-]?|__|shard[_-]|process[_-]?|worker[_-]?))(?P<rank>[0-9]+)"
)
"""transformers `rng_state_R.pth`, accelerate `random_states_R.pkl`, DeepSpeed `zero_pp_rank_R_mp_rank_M`, Composer `-rankR.pt`,
torch.distributed.checkpoint `__R_n.distcp`, and what scripts of one's own use."""

_DIGITS = re.compile(r"[0-9]+")


def kind_of(path: str) -> str:
    """A path with each run of digits as `#`, but for the numbers of ranks: files of two steps can be compared, rank by rank."""
    kept: list[str] = []
    at = 0
    for match in _RANK.finditer(path):
        kept.append(_DIGITS.sub("#", path[at : match.start("rank")]) + match["rank"])
        at = match.end()
    return "".join(kept) + _DIGITS.sub("#", path[at:])


def missing_rank(paths: Iterable[str]) -> str | None:
    """The first file of a rank that must be there because a higher rank's is, as a path; None where no rank is left out.

    Ranks count from 0, or from 1 where there is no 0."""
    for family, ranks in sorted(_families(paths).items()):
        lowest = min(ranks)
        if holes := set(range(min(lowest, 1), max(ranks))) - ranks.keys():
            return family.replace("*", str(min(holes)))
    return None


def world_size(paths: Iterable[str]) -> int | None:
    """How many ranks wrote it, as far as file names tell; None when none of them names a rank."""
    together: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for path in paths:
        if ranks := [match["rank"] for match in _RANK.finditer(path)]:
            together[_RANK.sub(lambda match: match["before"], path)].add(tuple(ranks))
    return max(map(len, together.values()), default=None)


def _families(paths: Iterable[str]) -> Mapping[str, Mapping[int, str]]:
    """Family -> rank -> a path. A family is a name with one rank's number as `*`, once for each rank that a name has."""
    families: dict[str, dict[int, str]] = defaultdict(dict)
    for path in paths:
        for match in _RANK.finditer(path):
            family = path[: match.start("rank")] + "*" + path[match.end() :]
            families[family][int(match["rank"])] = path
    return families
