"""The order in which targets are built."""

from builder.targets import CycleError, UnknownTarget


class Planner:
    def __init__(self, targets):
        self._targets = targets

    def plan(self, *names):
        """Return all targets needed for `names`, each after what it needs."""
        order = []
        for name in names:
            self._visit(name, order, [])
        return order

    def _visit(self, name, order, path):
        if name in order:
            return
        if name in path:
            raise CycleError([*path[path.index(name) :], name])
        if name not in self._targets:
            raise UnknownTarget(name)
        for need in self._targets[name].needs:
            self._visit(need, order, [*path, name])
        order.append(name)

    def commands(self, *names):
        """Return the commands to run, those without a command left out."""
        plan = [self._targets[name] for name in self.plan(*names)]
        return [target.command for target in plan if target.command]

    def unused(self, *names):
        """Return the targets that `names` do not need."""
        return sorted(set(self._targets) - set(self.plan(*names)))


def has_cycle(targets):
    """Whether some targets can never be built."""
    try:
        Planner(targets).plan(*targets)
    except CycleError:
        return True
    return False
