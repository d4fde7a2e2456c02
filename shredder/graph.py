"""Any network as a graph of operations, traced by torch.fx, and the places where a single value crosses it."""

import operator
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from shredder.io.cli import InputError

_OUT_OF_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul}
_OF_NEW_MEMORY = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


class Cut(NamedTuple):
    """A place to cut: after the operations up to one of them, whose value is sent.

    Attributes
    ----------
    node : fx.Node
    beside : tuple of str
        Operations before it whose values are needed behind it as well, by name; none where the cut works.
    """

    node: fx.Node
    beside: tuple[str, ...]


class Traced:
    """A network's operations in the order in which they run.

    Parameters
    ----------
    network : nn.Module
        In eval mode.

    Raises
    ------
    InputError
        If torch.fx cannot trace it: its operations depend on what it is given.
    """

    def __init__(self, network: nn.Module):
        try:
            self._graph = fx.Tracer().trace(network)
        except Exception as error:  # whatever a network's forward raises when it is given no numbers
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise InputError(
                f"the network: a {type(network).__name__} cannot be traced ({reason}); expected one whose operations do not "
                "depend on its input, an nn.Sequential, or a module with layers()"
            ) from error
        _take_size_where_it_is_used(self._graph)
        self._network = network
        self._nodes = [node for node in self._graph.nodes if node.op not in ("placeholder", "output")]
        self._input = next(node for node in self._graph.nodes if node.op == "placeholder")
        self._names = _names_of(self._nodes)

    def cuts(self) -> dict[str, Cut]:
        """Where it could be cut, in order; a module of several operations has the name of its last, too."""
        found, place = {}, {node: i for i, node in enumerate(self._nodes)}
        last_use = {node: max((place.get(user, len(place)) for user in node.users), default=-1) for node in place}
        last_use[self._input] = max(place.get(user, len(place)) for user in self._input.users)
        for i, node in enumerate(self._nodes[:-1]):
            if node.op == "get_attr":
                continue
            earlier = [self._input, *(other for other in self._nodes[:i] if other.op != "get_attr")]
            beside = tuple(self._names.get(other, "the input") for other in earlier if last_use[other] > i)
            found[self._names[node]] = Cut(node, beside)
        for module, node in _last_of_modules(self._nodes):
            if module not in found and node in place and place[node] < len(self._nodes) - 1:
                found[module] = found[self._names[node]]
        return found

    def values(self, inputs: Tensor) -> dict[str, Any]:
        """What each operation of `cuts` makes of inputs, by name."""
        made: dict[fx.Node, Any] = {}

        class Keeping(fx.Interpreter):
            def run_node(self, node: fx.Node) -> Any:
                made[node] = super().run_node(node)
                return made[node]

        with torch.no_grad():
            Keeping(self._network, graph=self._graph).run(inputs)
        return {name: made[cut.node] for name, cut in self.cuts().items()}

    def halves(self, cutting_point: str) -> tuple[fx.GraphModule, fx.GraphModule]:
        """The graph up to a cutting point, and the rest.

        Raises InputError of a cut that there is not, or that more than one value crosses.
        """
        cuts = self.cuts()
        working = [name for name, cut in cuts.items() if not cut.beside]
        if cutting_point not in cuts:
            expected = f"expected one of {', '.join(working)}" if working else "but nowhere does a single value cross it"
            raise InputError(f"--cutting-point: found {cutting_point!r}, {expected}")
        cut = cuts[cutting_point]
        if cut.beside:
            order = list(cuts)
            place = order.index(cutting_point)
            nearest = sorted(working, key=lambda name: abs(order.index(name) - place))[:3]
            raise InputError(
                f"--cutting-point {cutting_point}: more than its output crosses, that of {', '.join(cut.beside)} as well; "
                f"expected a place that one value crosses, such as {', '.join(nearest)}"
            )
        return self._part(None, cut.node), self._part(cut.node, None)

    def _part(self, after: fx.Node | None, last: fx.Node | None) -> fx.GraphModule:
        """The operations after one node up to another, as a module of the same weights."""
        graph, found = fx.Graph(), {}
        begin = 0 if after is None else self._nodes.index(after) + 1
        end = len(self._nodes) if last is None else self._nodes.index(last) + 1
        found[self._input if after is None else after] = graph.placeholder("x")
        for node in self._nodes[:begin]:
            if node.op == "get_attr" and any(user in self._nodes[begin:end] for user in node.users):
                found[node] = graph.node_copy(node, found.__getitem__)
        given = {found[self._input if after is None else after]}  # what may share memory with what the half is given
        for node in self._nodes[begin:end]:
            found[node] = graph.node_copy(node, found.__getitem__)
            if not given.isdisjoint(found[node].all_input_nodes):
                module = self._network.get_submodule(node.target) if node.op == "call_module" else None
                _take_out_of_place(found[node], module)
                if not isinstance(module, _OF_NEW_MEMORY):
                    given.add(found[node])
        (result,) = next(node for node in self._graph.nodes if node.op == "output").args if last is None else (last,)
        graph.output(fx.map_arg(result, found.__getitem__))
        graph.lint()
        return fx.GraphModule(self._network, graph)


def _take_size_where_it_is_used(graph: fx.Graph) -> None:
    """Let an operation ask its own input for the batch's size, not the network's, or that size would cross every cut."""
    for node in [node for node in graph.nodes if _is_batch_size(node)]:
        for user in list(node.users):
            value = user.args[0] if user.args else None
            if isinstance(value, fx.Node) and value is not node:
                with graph.inserting_before(user):
                    size = graph.call_method("size", (value, 0))
                size.meta = dict(user.meta)
                user.replace_input_with(node, size)
        while not node.users:
            earlier = node.args[0]
            graph.erase_node(node)
            if earlier.op == "placeholder":
                break
            node = earlier


def _is_batch_size(node: fx.Node) -> bool:
    """Whether it is x.size(0), x.shape[0] or x.size()[0]."""
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,)
    if node.target is not operator.getitem or node.args[1] != 0 or not isinstance(node.args[0], fx.Node):
        return False
    shape = node.args[0]
    return shape.args[1:] == ("shape",) if shape.target is getattr else shape.target == "size" and shape.args[1:] == ()


def _take_out_of_place(node: fx.Node, module: nn.Module | None) -> None:
    """Let it leave what it is given as it is: an activation is answered many times."""
    node.target = _OUT_OF_PLACE.get(node.target, node.target)
    if node.op == "call_method" and node.target.endswith("_") and hasattr(Tensor, node.target[:-1]):
        node.target = node.target[:-1]
    if "inplace" in node.kwargs:
        node.kwargs = node.kwargs | {"inplace": False}
    if getattr(module, "inplace", False):
        module.inplace = False


def beginning(half: fx.GraphModule) -> tuple[nn.Sequential, nn.Module]:
    """Its first linear map, flattened or not before, and what follows; nothing and all of it, if it begins with another."""
    value, head = next(iter(half.graph.nodes)), []
    while len(value.users) == 1:
        (node,) = value.users
        module = half.get_submodule(node.target) if node.op == "call_module" else None
        if node.args[:1] != (value,) or node.kwargs:
            break
        if isinstance(module, nn.Linear | nn.Conv2d):
            return nn.Sequential(*head, module), _after(half, node)
        if isinstance(module, nn.Flatten) or (node.target is torch.flatten and node.args[1:] == (1,)):
            head.append(nn.Flatten())
        elif not isinstance(module, nn.Dropout):  # which does nothing in eval mode
            break
        value = node
    return nn.Sequential(), half


def ends_in_log_probabilities(half: fx.GraphModule) -> bool:
    """Whether log_softmax is the last operation."""
    last = next(node for node in half.graph.nodes if node.op == "output").args[0]
    if not isinstance(last, fx.Node):
        return False
    module = half.get_submodule(last.target) if last.op == "call_module" else None
    return isinstance(module, nn.LogSoftmax) or last.target in (functional.log_softmax, torch.log_softmax, "log_softmax")


def _after(half: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    graph = fx.Graph()
    nodes = list(half.graph.nodes)
    found = {node: graph.placeholder("x")}
    for other in nodes[nodes.index(node) + 1 :]:
        found[other] = graph.node_copy(other, found.__getitem__)
    return fx.GraphModule(half, graph)


def _names_of(nodes: Iterable[fx.Node]) -> Mapping[fx.Node, str]:
    """Modules have their own names, other operations theirs within the module that runs them; what runs again is numbered."""
    names, seen = {}, {}
    for node in nodes:
        name = str(node.target) if node.op == "call_module" else ".".join([*_modules(node)[-1:], _operation(node)])
        seen[name] = seen.get(name, -1) + 1
        names[node] = f"{name}_{seen[name]}" if seen[name] else name
    return names


def _operation(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def _modules(node: fx.Node) -> list[str]:
    """Names of the modules that a node runs in, from the outside in."""
    return [name for name, _ in node.meta.get("nn_module_stack", {}).values() if name]


def _last_of_modules(nodes: Iterable[fx.Node]) -> list[tuple[str, fx.Node]]:
    """The last operation in each module of several that runs once."""
    first, last, count, again = {}, {}, {}, set()
    for i, node in enumerate(nodes):
        for module in _modules(node):
            first.setdefault(module, i)
            last[module], count[module] = node, count.get(module, 0) + 1
            if i - first[module] + 1 != count[module]:  # it runs again, after something else
                again.add(module)
    return [(module, node) for module, node in last.items() if module not in again]
