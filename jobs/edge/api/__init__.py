"""What requests and replies of the quote port look like: the models of bodies, and the OpenAPI document."""
