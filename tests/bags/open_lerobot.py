"""Opens a dataset with LeRobot itself and prints what it finds: `python open_lerobot.py FOLDER`, one line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

# LeRobot imports torchvision, whose compiled operators are made for the torch with CUDA; pictures are not in these datasets.
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

dt = 0.02
folder = Path(sys.argv[1])
dataset = LeRobotDataset("local/bag", root=folder, delta_timestamps={"action": [0.0, dt, 2 * dt]})
last = dataset[len(dataset) - 1]
answer = {
    "frames": len(dataset),
    "episodes": dataset.meta.total_episodes,
    "fps": dataset.fps,
    "robot": dataset.meta.robot_type,
    "task": dataset[0]["task"],
    "lengths": [int(episode["length"]) for episode in dataset.meta.episodes],
    "names": dataset.meta.features["action"]["names"],
    "first_state": dataset[0]["observation.state"].tolist(),
    "first_actions": dataset[0]["action"].tolist(),
    "last_actions_padded": last["action_is_pad"].tolist(),
    "action_mean": dataset.meta.stats["action"]["mean"].tolist(),
    "mean_of_actions": torch.stack([dataset[i]["action"][0] for i in range(len(dataset))]).double().mean(dim=0).tolist(),
}
print(json.dumps(answer))
