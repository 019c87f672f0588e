"""From a run to a deployed revision on Google Cloud, and back: training jobs, the model registry, Cloud Run."""
