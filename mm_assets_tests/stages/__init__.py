"""The stages, each as its job runs."""
