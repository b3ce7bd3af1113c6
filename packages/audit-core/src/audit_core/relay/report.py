"""What a pass of the relay did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Why a stage did not go on."""

    IDLE = "idle"  # nothing was left
    BUSY = "busy"  # its turn was over, or it was told to stop
    HELD = "held"  # another worker has the lease, the sink waits after a failure, or it is paused
    FAILED = "failed"  # the sink is out of order; it is tried again later
    LOST = "lost"  # another worker took the lease over
    BROKEN = "broken"  # the log itself, or the code, raised


@dataclass(frozen=True, slots=True)
class StageReport:
    """What one stage did: ``events`` went through, ``parked`` were set aside."""

    name: str
    events: int = 0
    parked: int = 0
    state: State = State.IDLE
    error: str | None = None

    @property
    def moved(self) -> bool:
        """Whether it got anywhere."""
        return bool(self.events or self.parked)

    def then(self, later: StageReport) -> StageReport:
        """Both turns as one."""
        return StageReport(
            self.name,
            self.events + later.events,
            self.parked + later.parked,
            later.state,
            later.error or self.error,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass did, stage by stage: the sequencer, the summaries, then each sink."""

    stages: Mapping[str, StageReport] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def moved(self) -> bool:
        """Whether any stage got anywhere."""
        return any(stage.moved for stage in self.stages.values())

    @property
    def failures(self) -> Sequence[StageReport]:
        """The stages that failed: a sink out of order, or the log itself."""
        return [stage for stage in self.stages.values() if stage.state in (State.FAILED, State.BROKEN)]

    @property
    def out_of_order(self) -> bool:
        """Whether a stage failed, or waits after a failure."""
        return bool(self.failures) or any(
            stage.state is State.HELD and stage.error for stage in self.stages.values()
        )

    @property
    def parked(self) -> int:
        """How many events were set aside."""
        return sum(stage.parked for stage in self.stages.values())


def words_of(error: BaseException) -> str:
    """An error in one line that fits a table and a screen."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:1000] if text else type(error).__name__
