"""The temporal difference model of a bundle: it must be of this robot, over its joints, and of the time that the planner counts in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnxruntime as ort

from taustack.config import RobotConfig
from taustack.controllers.tdm import TDM
from taustack.errors import BundleRefused
from taustack.manifest import MANIFEST, TDMSpec
from taustack.tdm_arm import layout_of
from taustack.tdm_layout import TDMContract

if TYPE_CHECKING:
    from taustack.controllers.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class TDMBundle:
    """A verified TDM: what it is, what it was trained on, the graph that plans over it, and the model itself."""

    spec: TDMSpec
    contract: TDMContract
    plan: ort.InferenceSession
    model: TDM


def tdm_of(bundle: Bundle, robot: RobotConfig) -> TDMBundle:
    """The TDM of a bundle.

    Raises:
        BundleRefused: it has none, or one of other joints, limits or steps.
    """
    spec = bundle.manifest.tdm
    if spec is None:
        raise BundleRefused(bundle.folder / MANIFEST, "tdm", "nothing", "a temporal difference model: `taustack train tdm`, then `taustack models join`")
    path = bundle.folder / spec.file
    model = TDM(bundle.session(spec.file), path)
    found = model.contract.layout
    expected = layout_of(robot, found.tau_max)
    for key in type(found).model_fields:
        if getattr(found, key) != getattr(expected, key):
            raise BundleRefused(path, f"layout.{key}", getattr(found, key), f"{getattr(expected, key)}, as robot.yaml has it")
    if spec.chain.taus[-1] != found.tau_max:
        raise BundleRefused(bundle.folder / MANIFEST, "tdm.chain.taus", list(spec.chain.taus), f"a last one of {found.tau_max}, the tau_max of {spec.file}")
    return TDMBundle(spec=spec, contract=model.contract, plan=bundle.session(spec.plan), model=model)
