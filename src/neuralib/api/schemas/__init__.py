"""Every request and response body, and every query: a module for each resource."""
