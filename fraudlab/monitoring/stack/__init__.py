"""Rules, routes and dashboards for a server's metrics, made by ``python -m fraudlab.monitoring.stack``."""
