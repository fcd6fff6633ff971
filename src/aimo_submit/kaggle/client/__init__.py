"""kaggle/client"""
