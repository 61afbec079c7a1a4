"""The console: the operators' page, served by the edge service's application, and the live view in the terminal.

``page.html`` is one file without external resources; it polls the JSON routes of :mod:`jobs.console.page`.
"""
