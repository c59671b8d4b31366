"""What the screens share. Beside them the only place that imports Streamlit."""
