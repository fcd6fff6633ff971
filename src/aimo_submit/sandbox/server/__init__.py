"""sandbox/server"""
