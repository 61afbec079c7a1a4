"""Write ``infra/docs/results.md``: every recorded figure with its limit or peer, its machine and its date.

``python -m infra.reports.results_page`` (``make results``) reads the files in ``infra/reports/results`` and writes
the page. With ``--check`` it writes nothing and returns exit code 1 if the page differs. A figure is copied from
its file; the notes of each section explain what a figure means. A report that records no date or commit gets "–".

To add a section, write a generator of its lines in a module of this folder and add it to
:data:`infra.reports.results_page.page.SECTIONS`.
"""
