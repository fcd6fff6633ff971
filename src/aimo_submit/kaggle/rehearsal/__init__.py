"""kaggle/rehearsal"""
