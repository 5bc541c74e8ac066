"""Graph passes, one module a pass: functions that change a graph and return how often."""
