"""sandbox/linux"""
