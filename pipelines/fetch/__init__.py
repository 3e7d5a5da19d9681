"""Fetching pictures of a URL list from hosts that are not trusted, politely and only where they allow it.

Our own client over aiohttp, and not img2dataset's downloader: that one hands no response header to its
writer (so header opt-outs cannot be kept as evidence), bounds neither the body nor the total time, reads
`file:` and `data:` addresses, follows redirects anywhere, tries again what cannot succeed and always
claims to be Firefox (measured with 1.47.0).
"""
