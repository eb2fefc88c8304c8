"""The scorer online: a Ray Serve application, its settings and its page."""
