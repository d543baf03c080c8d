"""`repair`: locate → propose → check → keep → feed back, until the checks pass or ideas or limits end."""

import asyncio

from overnight.agents.interface import NOTHING, Assignment, Outcome
from overnight.agents.repair.asking import Ask, Asking
from overnight.agents.repair.search import Search
from overnight.agents.repair.words import with_words


class Repair:
    """The agent for small models, and for tasks with a failing check."""

    name = "repair"
    equipment = NOTHING

    def __init__(self, systematic: bool = True) -> None:
        self._systematic = systematic
        """Whether small systematic edits are tried where the model's first answers did not help."""

    async def work(self, assignment: Assignment) -> Outcome:
        """Repair until every check passes; what helps is kept on the way.

        Raises:
            ModelError: the model failed for good.
        """
        search = Search(await with_words(assignment), self._systematic)
        try:
            async with asyncio.timeout(search.recorder.seconds_left()):
                await search.prepare()
                while not search.over() and search.may_go_on():
                    await self._round(assignment, search, search.locate())
        except TimeoutError:
            search.give_back()
            search.may_go_on()
        return search.outcome()

    async def _round(self, assignment: Assignment, search: Search, asks: list[Ask]) -> None:
        """Deal with one round's asks; ends early when the ground has changed."""
        async with Asking(assignment, asks) as asking:
            while (ask := asking.next()) is not None and search.may_go_on():
                step = search.begin(ask)
                answer = await asking.answer(step)
                progress = await search.examine(ask, answer)
                asking.ask_first(search.take_follow_ups())
                if progress:
                    asking.stop_asking()
                if search.solved:
                    await search.finish()
                elif asking.left == 0:
                    await search.end_round(progress)
                await search.end_step()
                if search.solved:
                    return
