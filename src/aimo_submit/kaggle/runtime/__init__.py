"""kaggle/runtime"""
