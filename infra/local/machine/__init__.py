"""What a run needs of the machine: Java, jars, ports, loopback addresses and process groups."""
