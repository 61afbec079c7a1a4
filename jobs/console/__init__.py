"""The console: the page for people, served by the edge service's application.

``page.html`` is one file with no outside part; it polls the JSON routes of :mod:`jobs.console.page`.
"""
