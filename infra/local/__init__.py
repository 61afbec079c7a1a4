"""Run the whole platform on one machine from wheels and jars, without containers and without root.

``python -m infra.local --help`` lists the commands. Modules in the order of a start::

    bootstrap.py    install the environment from requirements.lock
    wheel.py        build the wheel of the project, to install an edge elsewhere
    machine/        find Java, fetch and verify jars, choose ports, bind Beam to loopback, end process groups
    calibration.py  measure the machine and choose the simulated market's speed and traffic
    config.py       write the configuration files of the broker, Redis and Flink
    parts.py        the processes of the platform, their start order and readiness checks
    supervision.py  start, restart and stop processes with supervisord
    jobs.py         submit Flink jobs, find lost jobs and their checkpoints
    platform.py     up, down, status, clean
    job_supervisor.py  the part ``keeper``: submit lost jobs again

To add a part, add one ``Part`` to ``parts.PARTS``.
"""
