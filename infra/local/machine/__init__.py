"""What a run needs of the machine: Java, jars, ports, and processes that end with their parent."""
