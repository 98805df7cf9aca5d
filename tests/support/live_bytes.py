"""How many bytes of tensors live at once in a computation: on the meta device that of a model of any size."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Inside the context, ``peak`` is the most bytes of new storages that lived at once; weights do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.now = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        for given in tree_leaves((args, kwargs)):
            if isinstance(given, torch.nn.Parameter):
                self._sizes.setdefault(given.untyped_storage()._cdata, 0)
        result = function(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and (key := made.untyped_storage()._cdata) not in self._sizes:
                self._sizes[key] = made.untyped_storage().nbytes()
                self.now += self._sizes[key]
                weakref.finalize(made.untyped_storage(), self._freed, key)
        self.peak = max(self.peak, self.now)
        return result

    def _freed(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)
