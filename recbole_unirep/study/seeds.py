"""recbole_unirep.study.seeds: which seeds a comparison or a study asks for."""

FIRST_SEED = 2020


def seeds_asked(found):
    """Seeds: how many from 2020 on, or a list.

    Args:
        found (int, str or list of int): such as 3, '3', '2020,2021,2022' or [2020, 2021, 2022].

    Returns:
        list[int]: each once.

    Raises:
        ValueError: there is none, or one is no whole number.
    """
    is_list = isinstance(found, list) or "," in str(found)
    texts = [str(part).strip() for part in (found if isinstance(found, list) else str(found).split(","))]
    if not texts or not all(part.isdecimal() for part in texts) or len(set(texts)) < len(texts):
        raise ValueError(f"seeds={found} is not understood: give how many, or each once, such as 2020,2021,2022")
    if is_list:
        return [int(part) for part in texts]
    if not 1 <= int(texts[0]) < FIRST_SEED:
        raise ValueError(f"seeds={found}: give how many, at least 1, or a list such as [2020, 2021, 2022]")
    return [FIRST_SEED + number for number in range(int(texts[0]))]
