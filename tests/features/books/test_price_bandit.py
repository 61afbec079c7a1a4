"""River's LinUCB as numbers: the same choices and states as a policy object that is never exported."""

from __future__ import annotations

import random

from river import bandit

from features.books.price_bandit import ArmModel, choose_arm, learn_reward

STEPS = (-1, 0, 1)


def some_context(rng: random.Random) -> list[float]:
    return [1.0, rng.gauss(0, 1), rng.gauss(0, 1)]


def test_states_and_choices_equal_those_of_a_live_policy() -> None:
    rng, arms = random.Random(1), dict[int, ArmModel]()
    live = bandit.LinUCBDisjoint(alpha=1.0, beta=0.3**-2, seed=1)
    for k in range(60):
        context = some_context(rng)
        named = {f"{i:02}": x for i, x in enumerate(context)}
        step = choose_arm({s: arm.belief for s, arm in arms.items()}, STEPS, context, 0.3, seed=1)
        if len(arms) == len(STEPS):  # equal bounds of arms without rewards are drawn from the seed
            assert step == live.pull(list(STEPS), context=named)
        reward = 0.1 * step * context[1] + rng.gauss(0, 0.1)
        live.update(step, named, reward)
        arms[step] = learn_reward(arms.get(step), context, reward, 0.3)
        assert list(arms[step].belief.weights) == [live._bayes_lin_regs[step]._m[name] for name in named], k


def test_most_chosen_arm_depends_on_the_context() -> None:
    rng, arms = random.Random(2), dict[int, ArmModel]()
    chosen: dict[bool, list[int]] = {True: [], False: []}
    for k in range(300):
        context = some_context(rng)
        step = choose_arm({s: arm.belief for s, arm in arms.items()}, STEPS, context, 0.3, seed=k)
        reward = step * (1.0 if context[1] > 0 else -1.0) + rng.gauss(0, 0.3)
        arms[step] = learn_reward(arms.get(step), context, reward, 0.3)
        if k >= 150:
            chosen[context[1] > 0].append(step)
    assert sum(chosen[True]) / len(chosen[True]) > 0.7 and sum(chosen[False]) / len(chosen[False]) < -0.7


def test_equal_bounds_are_drawn_from_the_seed() -> None:
    drawn = [choose_arm({}, STEPS, [1.0], 0.3, seed) for seed in range(30)]
    assert set(drawn) == set(STEPS)
    assert drawn == [choose_arm({}, STEPS, [1.0], 0.3, seed) for seed in range(30)]
