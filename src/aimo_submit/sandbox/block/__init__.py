"""sandbox/block"""
