"""What the IEEE-CIS features are, by name: of which columns, by which keys."""

DAY = 86_400  # seconds
MONTH = 30 * DAY

DRIFTING = tuple(f"D{n}" for n in (4, 6, 7, 8, 10, 11, 12, 13, 14, 15))
PUBLISHED_V = tuple(
    f"V{n}"
    for n in (
        1, 3, 4, 6, 8, 11, 13, 14, 17, 20, 23, 26, 27, 30, 36, 37, 40, 41, 44, 47, 48, 54, 56, 59, 62, 65, 67,
        68, 70, 76, 78, 80, 82, 86, 88, 89, 91, 107, 108, 111, 115, 117, 120, 121, 123, 124, 127, 129, 130, 136,
        138, 139, 142, 147, 156, 160, 162, 165, 166, 169, 171, 173, 175, 176, 178, 180, 182, 185, 187, 188, 198,
        203, 205, 207, 209, 210, 215, 218, 220, 221, 223, 224, 226, 228, 229, 234, 235, 238, 240, 250, 252, 253,
        257, 258, 260, 261, 264, 266, 267, 271, 274, 277, 281, 283, 284, 285, 286, 289, 291, 294, 296, 297, 301,
        303, 305, 307, 309, 310, 314, 320,
    )
)  # fmt: skip

MATCHES = tuple(f"M{n}" for n in range(1, 10))
MATCH_NUMBERS = {"T": 1.0, "F": 0.0, "M0": 0.0, "M1": 1.0, "M2": 2.0}  # M4 holds M0, M1, M2, the others T and F

# Numbers and words of the row alone.
ROW_NUMERIC = (
    *(f"{name}_start" for name in DRIFTING),
    "cents",
    "hour",
    "weekday",
    "outsider15",
    "screen_width",
    "screen_height",
    "missing",
)
ROW_CATEGORICAL = (
    "P_email_vendor",
    "P_email_suffix",
    "R_email_vendor",
    "R_email_suffix",
    "emails_agree",
    "device_maker",
    "os",
    "browser",
)

# Who a row belongs to. "account" is the card's account: the day on which it began does not drift.
KEYS = ("addr1", "card1", "card2", "card3", "P_emaildomain", "card1_addr1", "card1_addr1_email", "account")
# How a key is written as one number.
FRACTION = 1024  # of a card's number, should it have decimals
CLIENT = 1000  # card1 and addr1 in one number; the source checks that addr1 lies below
DETAIL = 1 << 21  # so many days of an account's beginning, and e-mail domains, are told apart of one client
NOWHERE = -(2**63)  # a number that no key has
MOST_NUMBER = 2**31  # of a card or an address, that clients' numbers stay within 64 bits
EMAILS = "emails"  # name of the lookup that numbers the domains

COUNTED = ("card1", "account")
MOMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("card1", "card1_addr1", "card1_addr1_email"), ("TransactionAmt", "D9", "D11")),
    "account": ("TransactionAmt", "D4", "D9", "D10", "D15", "C14"),
}
MEANS: dict[str, tuple[str, ...]] = {"account": (*(f"C{n}" for n in range(1, 14) if n != 3), *MATCHES)}
DIFFERENT: dict[str, tuple[str, ...]] = {
    "account": (
        "P_emaildomain", "dist1", "month", "id_02", "cents", "C13", "V314", "V127", "V136", "V309", "V307", "V320"
    )
}  # fmt: skip


def names_by(key: str) -> tuple[str, ...]:
    """Names of the aggregates taken by ``key``, in the order in which :mod:`.past` gives them."""
    return (
        *(f"{key}_{column}_{moment}" for column in MOMENTS.get(key, ()) for moment in ("mean", "std")),
        *(f"{key}_{column}_mean" for column in MEANS.get(key, ())),
        *(f"{key}_{column}_different" for column in DIFFERENT.get(key, ())),
    )


PAST = (
    *(f"{key}_share" for key in KEYS),
    *(f"{key}_count" for key in COUNTED),
    *(name for key in KEYS for name in names_by(key)),
    "amount_unlike_account",
)
"""Numbers of the rows seen."""
