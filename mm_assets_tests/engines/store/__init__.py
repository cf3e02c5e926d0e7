"""A store that fails, throttles or lies, and uploads that go on."""
