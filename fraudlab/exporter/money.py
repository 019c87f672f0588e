"""The rule by money that a run's bundle decides by."""

from fraudlab.bundle.money import Money
from fraudlab.errors import UserError
from fraudlab.runs.costs import STAND_IN, costs_of
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import load_config


def money_of(run: RunFolder, amount: str | None) -> Money:
    """The rule, with the costs that the run or the blend was told.

    Args:
        run: finished.
        amount: the table's column of amounts.

    Raises:
        UserError: there are no amounts, an alert costs nothing, members of a blend were told other costs, or scores are
            no probabilities.
    """
    if amount is None:
        raise UserError("medium_money=true needs amounts, and the table has none; name the column with data.amount")
    fitted = [member for member, _ in run.members] or [run]
    if any(load_config(each.config_path).loss.name == "expected_cost" for each in fitted):
        raise UserError(
            "medium_money=true needs probabilities of fraud, and scores of loss=expected_cost are not probabilities"
        )
    costs = costs_of(run)
    for member, _ in run.members:
        if (theirs := costs_of(member)) not in (costs, STAND_IN):
            raise UserError(
                f"medium_money=true: the blend has {_typed(costs)}, its member {member.path} {_typed(theirs)}; "
                "blend them again with the right costs"
            )
    if not costs[0]:
        raise UserError("medium_money=true: with admin_cost=0 every alert pays; train with the cost of an alert")
    return Money(amount, *costs)


def stand_in(run: RunFolder) -> str | None:
    """What is to be said where the rule's costs are those that nobody typed."""
    if costs_of(run)[0] != STAND_IN[0]:
        return None
    return (
        f"levels are decided by money with admin_cost={STAND_IN[0]:g}, the default of a run; if an alert "
        "has another cost, train or blend with admin_cost=<cost>"
    )


def _typed(costs: tuple[float, float]) -> str:
    return f"admin_cost={costs[0]:g} recovery_share={costs[1]:g}"
