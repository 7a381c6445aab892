"""The list of scenarios: functions of a cluster, which raise where something is not as it should be."""
SCENARIOS = {}


def scenario(body):
    SCENARIOS[body.__name__] = body
    return body


def of_group(group):
    """The names of those in scenarios_GROUP.py."""
    return [name for name, body in SCENARIOS.items() if body.__module__ == f"scenarios_{group}"]
