"""The list of scenarios: functions of a cluster, which raise where something is not as it should be."""
SCENARIOS = {}


def scenario(body):
    SCENARIOS[body.__name__] = body
    return body
