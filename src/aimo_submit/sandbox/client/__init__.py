"""sandbox/client"""
