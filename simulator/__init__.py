"""The provider simulator: one loopback server that speaks OpenAI's and Anthropic's wire formats.

It answers from the words of the request, counts the tokens really sent and returned, keeps a journal of what each
provider would bill, and fails on request in every way a provider can. Demo, tests and benchmarks run against it,
through the providers' own SDKs, so that no code path knows whether a provider is real.
"""
