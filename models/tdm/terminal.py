"""What a TDM says will be left of the way, as the cost of where MPPI's horizon ends: the value of Pong et al. 2018 in place of more steps."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from taustack.errors import BadInput, BundleRefused
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.networks import first_twin
from taustack.models.tdm.spec import Relabel, TDMConfig
from taustack.rollout import Rollout
from taustack.tdm_layout import TDMLayout

TERMINAL_FILE = "terminal_tdm.npz"
LOOKS = (4 / 15, 9 / 15, 1.0)
"""Shares of tau_max at which what is left is looked at: together they tell a short way from a long one."""
RESOLUTION_M = 0.01  # below this distance the logarithm is flat: nearer, f is not exact
ABOUT, NETWORKS = "about", "networks/"


class TDMTerminal(nn.Module):
    """A cost term (rollout, xp) -> (K,): mean over tau of log(d^2 + RESOLUTION^2), d [m] what stays of the way to the goal when the policy
    goes on for tau + 1 steps from where the horizon ends.

    Args:
        learner: whose goals are places of the end effector.

    Raises:
        BadInput: other goals, or other states than those of an arm.
    """

    def __init__(self, learner: TDMLearner) -> None:
        super().__init__()
        layout = learner.layout
        n = len(layout.action)
        if len(layout.goal) != 3 or layout.sizes[0] != 4 * n + 3:
            found = f"goals {list(layout.goal)}, {layout.sizes[0]} entries of state"
            raise BadInput("temporal difference model", "layout", found, f"the end effector's x, y, z and {4 * n + 3}: `taustack train tdm ROBOT`")
        self.learner, self.reach = learner, first_twin(learner.reach)
        self.middle = len(learner.config.quantiles) // 2
        self.taus = tuple(sorted({round(share * layout.tau_max) for share in LOOKS}))

    def forward(self, rollout: Rollout, xp: Any) -> Tensor:
        """See the class; xp is torch."""
        tip = xp.transpose(rollout.ee[:, -1], 0, 1)
        s = xp.concatenate([xp.sin(rollout.q[-1]), xp.cos(rollout.q[-1]), rollout.u[-1], rollout.q[-1], tip], -1)
        count, k = len(self.taus), s.shape[0]
        s, g = s.repeat(count, 1), rollout.goal.expand(count * k, 3)
        tau = xp.tensor(self.taus, dtype=xp.float32).repeat_interleave(k)
        a, wanted = self.learner.policy.decide(s, g, tau)
        f = self.reach(s, a, g, tau, wanted)[0, :, self.middle]
        left = ((g - f) ** 2).sum(-1)
        cost: Tensor = xp.log(left + RESOLUTION_M**2).reshape(count, k).mean(0)
        return cost


def write_terminal(path: Path, terminal: TDMTerminal) -> None:
    """Networks and what they are of, without pickled objects: retraining builds the plan graph anew from them."""
    learner = terminal.learner
    about = json.dumps({"layout": learner.layout.model_dump(), "config": asdict(learner.config)})
    arrays = {NETWORKS + name: value.detach().numpy() for name, value in learner.state_dict().items()}
    np.savez_compressed(path, **{ABOUT: np.array(about)}, **arrays)  # type: ignore[arg-type]


def read_terminal(path: Path) -> TDMTerminal:
    """Raises BundleRefused if the file is missing or no such model."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(str(arrays[ABOUT]))
            networks = {key.removeprefix(NETWORKS): torch.tensor(arrays[key]) for key in arrays.files if key != ABOUT}
        return TDMTerminal(_learner(about["layout"], about["config"], networks))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise BundleRefused(path, "", " ".join(str(error).split())[:200], "a temporal difference model for the end of the horizon") from None


def trained_terminal(folder: Path) -> TDMTerminal:
    """Of a training's folder. Raises BadInput if it holds none that is finished."""
    path = folder / "checkpoint.pt"
    if not path.is_file():
        raise BadInput(path, "", "no such file", "a finished training of `taustack train tdm ROBOT`")
    kept = torch.load(path, weights_only=True)
    _, layout, config, schedule = json.loads(kept["tag"])
    if not isinstance(schedule, dict) or kept["step"] != schedule["steps"]:
        raise BadInput(path, "step", kept["step"], "a finished training online: the same command again goes on with it")
    return TDMTerminal(_learner(layout, config, kept["networks"]))


def _learner(layout: dict[str, Any], config: dict[str, Any], networks: dict[str, Tensor]) -> TDMLearner:
    relabel = Relabel(**config["relabel"]) if config["relabel"] else None
    own = config | {"hidden": tuple(config["hidden"]), "quantiles": tuple(config["quantiles"]), "relabel": relabel}
    learner = TDMLearner(TDMLayout.model_validate_json(json.dumps(layout)), TDMConfig(**own))
    learner.load_state_dict(networks)
    return learner
