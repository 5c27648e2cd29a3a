"""What two services or more agree on: messages, the pipeline language, evidence, and the capabilities around them."""
