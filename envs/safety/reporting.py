"""What the safety monitor tells: channels of every control step, and the measures of an episode."""

from __future__ import annotations

from typing import Any

from training_ground.envs.channels import Channel
from training_ground.envs.safety.watched import STATES, Watched


def channels(farthest: float) -> tuple[Channel, ...]:
    """Channels of a cell with a person, who is seen up to a distance in m."""
    far = f"Distance to the nearest person, at most {farthest:.2f} m."
    state = "Of the safety monitor: 0 ok, 1 warning, 2 stopped, its actions ignored."
    share = "Largest contact force on a person so far, as a share of its limit."
    return (
        Channel("separation", (), "m", "none", "observation", far),
        Channel("safety_state", (), "1", "none", "observation", state),
        Channel("contact_share", (), "1", "none", "state", share),
    )


def values(watched: Watched) -> dict[str, Any]:
    """What the channels declare."""
    return {
        "separation": watched.separation,
        "safety_state": float(STATES.index(watched.state)),
        "contact_share": watched.largest.get("contact", 0.0),
    }


def metrics(watched: Watched, persons: bool) -> dict[str, float]:
    """What an episode is measured by.

    Returns:
        `joint_limit`, largest share of the way from the middle of a joint's range to a degree beyond its limit, and
        `torque_limit`, largest share of an effort limit; where hands have a workspace `workspace`, m out of it at most.
        `steps_<cause>` counts the control steps in which something was beyond its limit, where there were any.
        With a person, or where something stopped the robot: `protective_stops` and `emergency_stops`; `stop_time`, s,
        and `stop_distance`, m, the largest of the stops that came to rest. With a person: `least_separation`, m, and
        for each region that was touched `contact_<region>`, the largest share of its limit, and `force_<region>`, N.
    """
    position, torque = watched.peaks.max(axis=1).tolist()
    found = {"joint_limit": position, "torque_limit": torque}
    if "workspace" in watched.largest:
        found["workspace"] = watched.largest["workspace"]
    found |= {f"steps_{cause}": float(count) for cause, count in watched.counts.items()}
    if not persons and not watched.stops:
        return found
    protective = watched.stops.get("separation", 0)
    found["protective_stops"] = float(protective)
    found["emergency_stops"] = float(sum(watched.stops.values()) - protective)
    if watched.stopped_time is not None and watched.stopped_distance is not None:
        found |= {"stop_time": watched.stopped_time, "stop_distance": watched.stopped_distance}
    if persons:
        found["least_separation"] = watched.least_separation
    found |= {f"contact_{region}": share for region, share in watched.touches.shares.items()}
    return found | {f"force_{region}": force for region, force in watched.touches.forces.items()}
